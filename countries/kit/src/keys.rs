//! Keys of doctors and hospitals in the canonical spelling. Keys of patients are in [`document`](crate::document) and
//! in each country's own module.

use crate::fields::unpadded;

/// Returns a register's number of at most `max_digits` digits, without leading zeros.
#[must_use]
pub fn number(spelling: &str, max_digits: usize) -> Option<String> {
    let spelled = is_digits(spelling) && spelling.len() <= max_digits;
    Some(unpadded(spelling)).filter(|number| spelled && !number.is_empty()).map(String::from)
}

/// Returns a register's code of exactly `digits` digits.
#[must_use]
pub fn code(spelling: &str, digits: usize) -> Option<String> {
    (is_digits(spelling) && spelling.len() == digits).then(|| spelling.into())
}

fn is_digits(spelling: &str) -> bool {
    spelling.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_no_zeros_before_it() {
        for spelling in ["45678", "045678"] {
            assert_eq!(number(spelling, 6).as_deref(), Some("45678"));
        }
        for wrong in ["", "0", "000", "0045678", "4567a", "-1", "４"] {
            assert_eq!(number(wrong, 6), None, "{wrong}");
        }
    }

    #[test]
    fn a_code_has_all_of_its_digits() {
        assert_eq!(code("00006219", 8).as_deref(), Some("00006219"));
        for wrong in ["", "6219", "000006219", "0000621a"] {
            assert_eq!(code(wrong, 8), None, "{wrong}");
        }
    }
}
