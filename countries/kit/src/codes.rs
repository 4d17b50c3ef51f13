//! Official code lists, in the CSV files that their sources publish.

/// A CSV file embedded with `include_str!`: a header, then rows sorted by their first column, without quotes.
///
/// Each call runs in a fresh instance, so nothing is parsed in advance: a look-up is a binary search that touches a few
/// pages of the text and allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct CodeList(&'static str);

impl CodeList {
    /// Creates a list from the text of a CSV file.
    #[must_use]
    pub const fn new(csv: &'static str) -> Self {
        Self(csv)
    }

    /// Returns the columns that follow a code, as one text, or `None` if the list does not have the code.
    #[must_use]
    pub fn find(self, code: &str) -> Option<&'static str> {
        let mut rows = self.body();
        while !rows.is_empty() {
            let middle = rows.len() / 2;
            let bytes = rows.as_bytes();
            let start = bytes[..middle].iter().rposition(is_break).map_or(0, |at| at + 1);
            let end = bytes[middle..].iter().position(is_break).map_or(rows.len(), |at| middle + at);
            let (key, rest) = rows[start..end].split_once(',')?;
            match key.cmp(code) {
                std::cmp::Ordering::Equal => return Some(rest),
                std::cmp::Ordering::Greater => rows = &rows[..start],
                std::cmp::Ordering::Less => rows = rows.get(end + 1..).unwrap_or_default(),
            }
        }
        None
    }

    /// Returns every code with the columns that follow it.
    pub fn rows(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.body().lines().filter_map(|row| row.split_once(','))
    }

    fn body(self) -> &'static str {
        self.0.split_once('\n').map_or("", |(_, body)| body)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "an iterator's predicate takes a reference")]
fn is_break(byte: &u8) -> bool {
    *byte == b'\n'
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: CodeList = CodeList::new("code,name,zone\n01,Ñuñoa,A\n02,Camiña,B\n05,Maipú,C\n");

    #[test]
    fn every_code_is_found_and_no_other() {
        for (code, rest) in LIST.rows() {
            assert_eq!(LIST.find(code), Some(rest));
        }
        for absent in ["", "00", "03", "06", "1", "code", "011", "Ñ"] {
            assert_eq!(LIST.find(absent), None, "{absent}");
        }
        assert_eq!(LIST.rows().count(), 3);
    }

    #[test]
    fn a_list_without_rows_or_last_line_break_finds_what_it_has() {
        assert_eq!(CodeList::new("").find("01"), None);
        assert_eq!(CodeList::new("code,name\n").find("01"), None);
        assert_eq!(CodeList::new("code,name\n01,x").find("01"), Some("x"));
    }
}
