//! Links in the texts of notices: `{link:NAME}` stands for a link to the action NAME.

use crate::model::Notice;

const OPEN: &str = "{link:";

/// Maximum number of links in one text. Further ones stay as they are, so that the text's size is bounded.
const MAX_LINKS: usize = 20;

/// Returns the names of the actions to which a notice links.
pub(crate) fn linked_actions(notice: &Notice) -> impl Iterator<Item = &str> {
    [Some(&notice.text), notice.html.as_ref()]
        .into_iter()
        .flatten()
        .flat_map(|text| split(text).1.map(|(name, _)| name))
}

/// Replaces the links of a text.
pub(crate) fn with_links(text: &str, link: impl Fn(&str) -> String) -> String {
    let (before, rest) = split(text);
    let replaced =
        rest.enumerate().map(
            |(number, (name, after))| {
                if number < MAX_LINKS { link(name) + after } else { [OPEN, name, "}", after].concat() }
            },
        );
    before.to_owned() + &replaced.collect::<String>()
}

/// Returns the text before the first link; and the name of each link, with the text after it.
fn split(text: &str) -> (&str, impl Iterator<Item = (&str, &str)>) {
    let next = |text: &str| text.match_indices(OPEN).find_map(|(start, _)| named(&text[start..]).map(|_| start));
    let end = next(text).unwrap_or(text.len());
    let mut rest = &text[end..];
    let links = std::iter::from_fn(move || {
        let (name, after) = named(rest)?;
        let end = next(after).unwrap_or(after.len());
        rest = &after[end..];
        Some((name, &after[..end]))
    });
    (&text[..end], links)
}

/// Returns the name of the link with which the text begins, and the text after it.
fn named(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix(OPEN)?.split_once('}')?;
    (!name.is_empty() && !name.contains(['{', ' ', '\n'])).then_some((name, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::notice;

    #[test]
    fn each_link_is_replaced_and_everything_else_stays() {
        let replaced = |text: &str| with_links(text, |name| format!("<{name}>"));
        for (text, expected) in [
            ("", ""),
            ("{link:confirm}", "<confirm>"),
            ("a {link:confirm}, b {link:no-show}.", "a <confirm>, b <no-show>."),
            ("{link:confirm}{link:confirm}", "<confirm><confirm>"),
            ("{link:} {link: a } {link:{link:a}} {link:a", "{link:} {link: a } {link:<a>} {link:a"),
            ("{Link:a} {name} }{", "{Link:a} {name} }{"),
            ("{link:Confirm}", "<Confirm>"),
        ] {
            assert_eq!(replaced(text), expected, "{text}");
        }
        let many = replaced(&"{link:a}".repeat(MAX_LINKS + 2));
        assert_eq!((many.matches("<a>").count(), many.matches("{link:a}").count()), (MAX_LINKS, 2));
    }

    #[test]
    fn a_notice_links_in_its_text_and_in_its_html() {
        let html = Some("<a href=\"{link:cancel}\">".to_owned());
        let notice = Notice { text: "{link:confirm} {link:cancel}".into(), html, ..notice() };
        assert_eq!(linked_actions(&notice).collect::<Vec<_>>(), ["confirm", "cancel", "cancel"]);
    }
}
