//! A letter: the words of a mail, as plain text and as an HTML document. Knows no language and no country.
//!
//! The HTML shows the same on telephones, in mail programs and to screen readers. It has no images, links or fonts from
//! elsewhere. All styles are inline, because mail programs drop style sheets. Text and background have no colours of
//! their own, so that a reader's dark mode stays dark; the one accent is legible on both.

/// Content of a mail, in the language of its reader. The HTML escapes every text.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// BCP 47 tag of the language.
    pub locale: &'a str,
    /// Title that names the event in a few words.
    pub title: &'a str,
    /// The sentence below the title, which inboxes show as a preview.
    pub lead: &'a str,
    /// The details, each with its label: what, when, where.
    pub details: &'a [(&'a str, String)],
    /// The one thing to do, if there is one.
    pub link: Option<Link<'a>>,
    /// Instructions for the reader: paragraphs below a heading.
    pub sections: &'a [(&'a str, Vec<String>)],
    /// Reason why the reader gets this mail.
    pub footer: &'a str,
}

/// A link that does an action of the appointment. The host replaces it with the address.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// Words of the link.
    pub label: &'a str,
    /// Name of an action whose input may be empty.
    pub action: &'a str,
}

impl Letter<'_> {
    /// Returns the letter as plain text.
    #[must_use]
    pub fn text(&self) -> String {
        let detail = |(label, value): &(&str, String)| [*label, ": ", value, "\n"].concat();
        let section =
            |(heading, paragraphs): &(&str, Vec<String>)| [*heading, "\n\n", &paragraphs.join("\n\n"), "\n\n"].concat();
        let details: String = self.details.iter().map(detail).collect();
        let sections: String = self.sections.iter().map(section).collect();
        let link = self.link.map(|link| [link.label, ": ", &link.place(), "\n\n"].concat()).unwrap_or_default();
        [self.title, "\n\n", self.lead, "\n\n", &details, "\n", &link, &sections, self.footer, "\n"].concat()
    }

    /// Returns the letter as an HTML document.
    #[must_use]
    pub fn html(&self) -> String {
        let [locale, title, lead, footer] = [self.locale, self.title, self.lead, self.footer].map(escaped);
        let detail = |(label, value): &(&str, String)| {
            [LABEL, &escaped(label), "</dt>", VALUE, &escaped(value), "</dd>\n"].concat()
        };
        let paragraph = |text: &String| [PARAGRAPH, &escaped(text), "</p>\n"].concat();
        let section = |(heading, paragraphs): &(&str, Vec<String>)| {
            let paragraphs: String = paragraphs.iter().map(paragraph).collect();
            [HEADING, &escaped(heading), "</h2>\n", &paragraphs].concat()
        };
        let details: String = self.details.iter().map(detail).collect();
        let sections: String = self.sections.iter().map(section).collect();
        let link =
            |link: Link| [LINK, &escaped(&link.place()), LINK_STYLE, &escaped(link.label), "</a></p>\n"].concat();
        let link = self.link.map(link).unwrap_or_default();
        [
            "<!doctype html>\n<html lang=\"",
            &locale,
            HEAD,
            &title,
            "</title>\n</head>\n",
            BODY,
            PREVIEW,
            &lead,
            "</div>\n",
            OUTLOOK_WIDTH,
            "<div role=\"article\" aria-roledescription=\"email\" lang=\"",
            &locale,
            "\" aria-label=\"",
            &title,
            FRAME,
            TITLE,
            &title,
            "</h1>\n",
            PARAGRAPH,
            &lead,
            "</p>\n",
            DETAILS,
            &details,
            "</dl>\n",
            &link,
            &sections,
            FOOTER,
            &footer,
            "</p>\n</div>\n",
            OUTLOOK_WIDTH_END,
            "</body>\n</html>\n",
        ]
        .concat()
    }
}

impl Link<'_> {
    /// Returns the text that the host replaces with the address.
    fn place(&self) -> String {
        ["{link:", self.action, "}"].concat()
    }
}

/// The accent, with a contrast of at least 4 to white and to black.
macro_rules! accent {
    () => {
        "#0f8a83"
    };
}

const HEAD: &str = concat!(
    "\" dir=\"ltr\" style=\"color-scheme:light dark\">\n<head>\n<meta charset=\"utf-8\">\n",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    "<meta name=\"color-scheme\" content=\"light dark\">\n",
    "<meta name=\"supported-color-schemes\" content=\"light dark\">\n",
    // A telephone would take the numbers of doctors and establishments for ones that it can call.
    "<meta name=\"format-detection\" content=\"telephone=no\">\n<title>",
);
const BODY: &str = "<body style=\"margin:0;padding:0;-webkit-text-size-adjust:100%\">\n";
const PREVIEW: &str = "<div style=\"display:none;max-height:0;overflow:hidden;mso-hide:all\">";
/// Outlook on Windows knows no `max-width`, but tables.
const OUTLOOK_WIDTH: &str =
    "<!--[if mso]><table role=\"presentation\" width=\"600\" align=\"center\"><tr><td><![endif]-->\n";
const OUTLOOK_WIDTH_END: &str = "<!--[if mso]></td></tr></table><![endif]-->\n";
const FRAME: &str = concat!(
    "\" style=\"max-width:600px;margin:0 auto;padding:24px 20px;box-sizing:border-box;",
    "font-family:system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;",
    "font-size:16px;line-height:1.5;overflow-wrap:break-word\">\n",
);
const TITLE: &str = concat!(
    "<h1 style=\"margin:0 0 16px;padding:16px 0 0;border-top:6px solid ",
    accent!(),
    ";font-size:26px;line-height:1.25\">"
);
const PARAGRAPH: &str = "<p style=\"margin:0 0 12px\">";
const DETAILS: &str =
    concat!("<dl style=\"margin:20px 0;padding:4px 16px 16px;border:2px solid ", accent!(), ";border-radius:8px\">\n");
const LABEL: &str = "<dt style=\"margin:12px 0 0\">";
const VALUE: &str = "<dd style=\"margin:0;font-size:18px;font-weight:bold\">";
const LINK: &str = "<p style=\"margin:20px 0\"><a href=\"";
/// The words have the colour of a link, which is legible in a reader's dark mode too.
const LINK_STYLE: &str = concat!(
    "\" style=\"display:inline-block;padding:12px 20px;border:2px solid ",
    accent!(),
    ";border-radius:8px;font-size:18px;font-weight:bold\">"
);
const HEADING: &str = "<h2 style=\"margin:24px 0 8px;font-size:20px;line-height:1.3\">";
const FOOTER: &str = concat!("<p style=\"margin:28px 0 0;padding:12px 0 0;border-top:1px solid ", accent!(), "\">");

/// Escapes text for use between tags and in attributes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: &str = "<b onclick='x'>&\"";
    const ESCAPED: &str = "&lt;b onclick=&#39;x&#39;&gt;&amp;&quot;";

    #[test]
    fn text_and_html_say_the_same_in_the_same_order() {
        let letter = Letter {
            locale: "en",
            title: "Booked",
            lead: "We expect you.",
            details: &[("Date", "1 December".into()), ("Place", "Lima".into())],
            link: Some(Link { label: "Confirm", action: "confirm" }),
            sections: &[("Bring", vec!["Your card.".into(), "Your papers.".into()]), ("Cancel", vec!["Call.".into()])],
            footer: "You booked.",
        };
        let text = "Booked\n\nWe expect you.\n\nDate: 1 December\nPlace: Lima\n\nConfirm: {link:confirm}\n\n\
                    Bring\n\nYour card.\n\nYour papers.\n\nCancel\n\nCall.\n\nYou booked.\n";
        assert_eq!(letter.text(), text);
        let html = letter.html();
        let mut rest = html.split_once("<h1").expect("a heading").1;
        for word in [
            "Booked",
            "We expect",
            "Date",
            "1 December",
            "Lima",
            "{link:confirm}",
            "Confirm",
            "Bring",
            "papers",
            "Cancel",
            "Call",
            "You",
        ] {
            rest = rest.split_once(word).unwrap_or_else(|| panic!("{word} in {html}")).1;
        }
    }

    #[test]
    fn the_html_is_a_document_that_needs_nothing_from_elsewhere() {
        let letter =
            Letter { locale: "es-PE", title: "T", lead: "L", details: &[], link: None, sections: &[], footer: "F" };
        let html = letter.html();
        assert!(html.starts_with("<!doctype html>\n<html lang=\"es-PE\""), "{html}");
        for part in ["<meta charset=\"utf-8\">", "name=\"viewport\"", "<title>T</title>", "color-scheme", "</html>"] {
            assert!(html.contains(part), "{part} in {html}");
        }
        for remote in ["<img", "<script", "<link", "<style", "url(", "http"] {
            assert!(!html.contains(remote), "{remote} in {html}");
        }
    }

    #[test]
    fn markup_in_any_text_is_shown_not_run() {
        let letter = Letter {
            locale: ODD,
            title: ODD,
            lead: ODD,
            details: &[(ODD, ODD.into())],
            link: Some(Link { label: ODD, action: "confirm" }),
            sections: &[(ODD, vec![ODD.into()])],
            footer: ODD,
        };
        let html = letter.html();
        assert!(!html.contains("<b ") && !html.contains("'x'"), "{html}");
        assert_eq!(html.matches(ESCAPED).count(), 13);
        assert!(letter.text().contains(ODD));
    }
}
