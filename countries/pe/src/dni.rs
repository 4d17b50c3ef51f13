//! The DNI, Peru's national identity number, and its check character.

/// An eight-digit DNI. If it came with a check character, that is correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dni<'a>(&'a str);

impl<'a> Dni<'a> {
    /// Parses eight digits, alone or with the check digit or letter, with or without a hyphen before it.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (number, check) = text.split_at_checked(8)?;
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let fits = match check.as_bytes() {
            [] => true,
            [b'-', check] | [check] => fits(number, *check),
            _ => false,
        };
        fits.then_some(Self(number))
    }

    /// Returns the eight digits.
    pub const fn number(self) -> &'a str {
        self.0
    }
}

/// True if RENIEC's check character is correct: a digit, or on cards issued until August 2007 a letter. The digit is
/// also that of the tax number `10` + DNI (SUNAT).
fn fits(number: &str, check: u8) -> bool {
    const WEIGHTS: [usize; 8] = [3, 2, 7, 6, 5, 4, 3, 2];
    const DIGITS: &[u8; 11] = b"65432110987";
    const LETTERS: &[u8; 11] = b"KJIHGFEDCBA";
    let weighted = number.bytes().zip(WEIGHTS).map(|(digit, weight)| usize::from(digit - b'0') * weight);
    let rest = weighted.sum::<usize>() % 11;
    [DIGITS[rest], LETTERS[rest]].contains(&check.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers_fit_their_check_characters() {
        for known in [
            "10117410-2",
            "05414828-9",
            "33303993-7",
            "33303993-A",
            "32715628-0",
            "32715628-D",
            "38404733-1",
            "38404733-E",
            "38413701-1",
            "38413701-F",
            "07023847-6",
            "07023847-K",
        ] {
            assert_eq!(Dni::parse(known).map(Dni::number), Some(&known[..8]), "{known}");
            let joined = known.replace('-', "");
            assert_eq!(Dni::parse(&joined).map(Dni::number), Some(&known[..8]), "{joined}");
        }
        assert!(Dni::parse("07023847-k").is_some());
    }

    #[test]
    fn the_check_character_is_optional() {
        assert_eq!(Dni::parse("00000001").map(Dni::number), Some("00000001"));
    }

    #[test]
    fn every_other_check_character_is_refused() {
        for check in ('0'..='9').chain('A'..='Z') {
            let right = matches!(check, '2' | 'G');
            assert_eq!(Dni::parse(&format!("10117410-{check}")).is_some(), right, "{check}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [
            "",
            "1011741",
            "10117410-",
            "10117410--2",
            "10117410-22",
            "1O117410",
            "１0117410",
            "10117410–2",
            " 10117410",
            "ñ0117410",
        ] {
            assert_eq!(Dni::parse(wrong), None, "{wrong}");
        }
    }
}
