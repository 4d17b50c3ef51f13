//! Tools for a country's team: build a country's folder into a component, read its cases and limits, create a new
//! country. Knows no registry and no ledger.
//!
//! - [`folder`]: a country's folder: its settings, cases and limits
//! - [`build`]: from sources in Rust, JavaScript and Python to a component
//! - [`new_country`]: the folder that `citas rules new` begins

mod build;
mod folder;
mod new_country;

pub use build::BuildError;
pub use folder::{CasesError, CountryFolder, FolderError, Language, cases_in, limits_in};
pub use new_country::{NotBegun, begin};
