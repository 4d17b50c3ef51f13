//! `citas rules versions`: lists the published versions of a country.

use citas_core::model::{Channel, CountryCode, Manifest};
use citas_core::ports::RegistryError;
use semver::Version;
use serde_json::{Value, json};

use super::{Answer, InRegistry, Outcome};
use crate::command::terminal::{self, Table, time};
use crate::status::{self, CountryStatus};
use crate::system::SystemClock;

/// A published version. Its manifest may be unreadable.
struct Listed {
    version: Version,
    manifest: Result<Manifest, RegistryError>,
    /// Places of the version: `wanted`, `in force`, `before`, `on trial`.
    places: Vec<&'static str>,
}

pub(super) async fn versions(country: CountryCode, registry: &InRegistry) -> Outcome {
    let published = registry.open().await?;
    let (versions, channel) = (published.versions(country).await?, published.channel(country).await?);
    if versions.is_empty() {
        return Err(format!("no version of {country} is published in this registry").into());
    }
    let mut host = status::read(&registry.folders.data, &SystemClock).ok().flatten().unwrap_or_default();
    let here = host.remove(&country);
    let mut listed = Vec::new();
    for version in versions.into_iter().rev() {
        let manifest = published.manifest(country, &version).await;
        let places = places(&version, channel.as_ref(), here.as_ref());
        listed.push(Listed { version, manifest, places });
    }
    let words = if terminal::is_terminal() {
        table(&listed)
    } else {
        listed.iter().map(|listed| listed.cells().join("\t")).collect::<Vec<_>>().join("\n")
    };
    registry.report.say(&words, &listed.iter().map(Listed::json).collect::<Vec<_>>().into());
    Ok(Answer::Done)
}

fn places(version: &Version, channel: Option<&Channel>, here: Option<&CountryStatus>) -> Vec<&'static str> {
    let in_force = here.and_then(|here| here.in_force.as_ref());
    let is_in_force = in_force.is_some_and(|rules| rules.id.version == version.to_string());
    let is = |wanted: Option<&Version>| wanted == Some(version);
    let places = [
        ("wanted", is(channel.map(|channel| &channel.current))),
        ("in force", is_in_force),
        ("before", is(channel.and_then(|channel| channel.previous.as_ref()))),
        ("on trial", is(channel.and_then(|channel| channel.candidate.as_ref()).map(|candidate| &candidate.version))),
    ];
    places.into_iter().filter_map(|(place, is_there)| is_there.then_some(place)).collect()
}

fn table(listed: &[Listed]) -> String {
    let mut table = Table::new(["VERSION", "PUBLISHED", "PLACE", "SOURCE", "DIGEST"]);
    for listed in listed {
        let cells = listed.cells();
        table.row(cells.each_ref().map(String::as_str));
    }
    table.to_string()
}

impl Listed {
    fn cells(&self) -> [String; 5] {
        let (version, places) = (self.version.to_string(), self.places.join(", "));
        match &self.manifest {
            Ok(Manifest { published_at, source, digest, .. }) => {
                [version, time(*published_at), places, source.clone().unwrap_or_default(), digest.clone()]
            }
            Err(error) => [version, "unreadable".into(), places, String::new(), error.to_string()],
        }
    }

    fn json(&self) -> Value {
        let mut value = json!({ "version": self.version, "places": self.places });
        match &self.manifest {
            Ok(manifest) => value["manifest"] = json!(manifest),
            Err(error) => value["error"] = error.to_string().into(),
        }
        value
    }
}
