//! The RUN, Chile's national identity number, and its check digit.

use citas_kit::Violation;

/// A RUN with a correct check digit, in its canonical spelling `12345678-5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run(String);

impl Run {
    /// Parses six to eight digits with the check digit or K: with all dots or none, with or without a hyphen.
    ///
    /// # Errors
    /// Returns a violation if the spelling or the check digit is wrong.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        let Some((digits, check)) = split(text.as_bytes()) else {
            return Err(Violation::new("/run", "cl.run.format"));
        };
        if check != check_digit(&digits) {
            return Err(Violation::new("/run", "cl.run.check-digit"));
        }
        let spelled = digits.into_iter().chain([b'-', check]);
        Ok(Self(spelled.map(char::from).collect()))
    }

    /// Returns the canonical spelling: `12345678-5`, with a capital K.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Splits a RUN into its digits and its check character, if it has one of the usual spellings.
fn split(text: &[u8]) -> Option<(Vec<u8>, u8)> {
    let (check, number) = text.split_last()?;
    let number = number.strip_suffix(b"-").unwrap_or(number);
    let digits = match number {
        [m1, millions @ .., b'.', t1, t2, t3, b'.', u1, u2, u3] => {
            [&[*m1], millions, &[*t1, *t2, *t3, *u1, *u2, *u3]].concat()
        }
        [t1, t2, t3, b'.', u1, u2, u3] => vec![*t1, *t2, *t3, *u1, *u2, *u3],
        plain => plain.to_vec(),
    };
    let usual = matches!(digits.len(), 6..=8) && digits.iter().all(u8::is_ascii_digit) && digits.first() != Some(&b'0');
    let check = check.to_ascii_uppercase();
    (usual && (check.is_ascii_digit() || check == b'K')).then_some((digits, check))
}

/// Returns the Civil Registry's check digit: weights 2 to 7 from the right, then 2 again, modulo 11.
fn check_digit(digits: &[u8]) -> u8 {
    let weights = (2..=7).cycle();
    let weighted = digits.iter().rev().zip(weights).map(|(digit, weight)| u32::from(digit - b'0') * weight);
    match 11 - weighted.sum::<u32>() % 11 {
        10 => b'K',
        rest => b"01234567890"[rest as usize % 11],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Run::parse(text).expect_err(text).code
    }

    #[test]
    fn every_usual_spelling_is_one_run() {
        for spelling in ["12.345.678-5", "12345678-5", "123456785", "12.345.6785"] {
            assert_eq!(Run::parse(spelling).expect(spelling).as_str(), "12345678-5");
        }
        for spelling in ["2280782-K", "2.280.782-k", "2280782k", "2.280.782K"] {
            assert_eq!(Run::parse(spelling).expect(spelling).as_str(), "2280782-K");
        }
        for spelling in ["123.456-0", "123456-0", "1234560", "123.4560"] {
            assert_eq!(Run::parse(spelling).expect(spelling).as_str(), "123456-0");
        }
        assert!(Run::parse("12531909-2").is_ok());
        assert_eq!(Run::parse("10000013-k").expect("a RUN").as_str(), "10000013-K");
    }

    #[test]
    fn one_check_digit_fits_and_no_other() {
        for check in "012346789K".chars() {
            assert_eq!(code(&format!("12345678-{check}")), "cl.run.check-digit");
        }
    }

    #[test]
    fn a_rest_of_eleven_is_zero() {
        assert_eq!(check_digit(b"1000005"), b'K');
        let zero = (1_000_000..1_000_100_u32).find(|number| check_digit(number.to_string().as_bytes()) == b'0');
        let zero = zero.expect("one in eleven");
        assert!(Run::parse(&format!("{zero}-0")).is_ok());
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [
            "",
            "-",
            "5",
            "12.345678-5",
            "1234.5678-5",
            "12.34.5678-5",
            "1.2.345.678-5",
            "12345678–5",
            "12345678--5",
            "１２３４５６７８-5",
            "12345678-５",
            "12345678 -5",
            "12345678-5\u{200b}",
            "99999-3",
            "12.345-5",
            ".123.456-0",
            "1.23456-0",
            "12.3456-0",
            "1234.56-0",
            "023.456-0",
            "123456789-0",
            "02280782-K",
            "12,345,678-5",
            "12345678-X",
            "..-5",
            ".345.678-5",
            "12345678-",
            "1234567ñ-5",
        ] {
            assert_eq!(code(wrong), "cl.run.format", "{wrong}");
        }
    }
}
