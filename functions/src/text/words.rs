//! Words: how they sound, what they come from; texts in a normal form; numbers with a check digit.

use arrow::array::ArrayRef;
use datafusion::error::Result;
use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;

use super::last::Last;
use crate::{Call, Scalar, invalid, not_supported};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("luhn_check", &["(varchar) -> boolean"], luhn_check, "Whether the last of some digits is right by the algorithm of Luhn."),
    Scalar::new(
        "normalize",
        &["(varchar) -> varchar", "(varchar, varchar) -> varchar"],
        normalize,
        "The text in one of Unicode's normal forms, NFC unless NFD, NFKC or NFKD is given.",
    ),
    Scalar::new("soundex", &["(varchar) -> varchar"], soundex, "A letter and three digits that are the same for words which sound alike in English."),
    Scalar::new(
        "word_stem",
        &["(varchar) -> varchar", "(varchar, varchar) -> varchar"],
        word_stem,
        "What a word comes from, in English or the language of this code.",
    ),
];

fn luhn_check(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.booleans(|row| {
        let text = texts.value(row);
        let mut sum = 0;
        for (place, byte) in text.bytes().rev().enumerate() {
            let digit = match byte {
                b'0'..=b'9' => u64::from(byte - b'0'),
                _ => return Err(invalid(format!("'{text}' has characters that are no digits"))),
            };
            sum += match place % 2 {
                0 => digit,
                _ => digit * 2 / 10 + digit * 2 % 10,
            };
        }
        Ok(Some(!text.is_empty() && sum % 10 == 0))
    })
}

fn normalize(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    let forms = if call.len() > 1 { Some(call.text(1)?) } else { None };
    call.written_texts(|row, out| {
        let text = texts.value(row);
        match forms.map_or("NFC", |forms| forms.value(row)) {
            "NFC" => out.extend(text.nfc()),
            "NFD" => out.extend(text.nfd()),
            "NFKC" => out.extend(text.nfkc()),
            "NFKD" => out.extend(text.nfkd()),
            other => return Err(invalid(format!("'{other}' is not a normal form: NFC, NFD, NFKC and NFKD are"))),
        }
        Ok(true)
    })
}

/// The digits of the letters from A to Z; 0 for those that do not count.
const SOUNDS: &[u8; 26] = b"01230120022455012623010202";

fn soundex(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.written_texts(|row, out| {
        let text = texts.value(row);
        let mut letters = text.chars().filter(|character| character.is_alphabetic()).flat_map(char::to_uppercase);
        let Some(first) = letters.next() else { return Ok(true) };
        out.push(first);
        let (mut before, mut length) = (sound(first, text)?, 1);
        for letter in letters {
            if length == 4 {
                break;
            }
            // H and W do not part letters that sound alike.
            if matches!(letter, 'H' | 'W') {
                continue;
            }
            let sound = sound(letter, text)?;
            if sound != '0' && sound != before {
                out.push(sound);
                length += 1;
            }
            before = sound;
        }
        out.extend(std::iter::repeat_n('0', 4 - length));
        Ok(true)
    })
}

fn sound(letter: char, text: &str) -> Result<char> {
    let place = u32::from(letter).checked_sub(u32::from('A')).and_then(|place| usize::try_from(place).ok());
    let digit = place.and_then(|place| SOUNDS.get(place));
    digit.map(|&digit| char::from(digit)).ok_or_else(|| invalid(format!("soundex takes letters from A to Z only, not '{text}'")))
}

fn word_stem(call: &Call<'_>) -> Result<ArrayRef> {
    let words = call.text(0)?;
    let languages = if call.len() > 1 { Some(call.text(1)?) } else { None };
    let mut stemmers = Last::new();
    call.texts(|row| {
        let stemmer = stemmers.get(languages.map_or("en", |languages| languages.value(row)), |code| Ok(Stemmer::create(algorithm(code)?)))?;
        Ok(Some(stemmer.stem(words.value(row))))
    })
}

fn algorithm(code: &str) -> Result<Algorithm> {
    Ok(match code {
        "da" => Algorithm::Danish,
        "de" => Algorithm::German,
        "en" => Algorithm::English,
        "es" => Algorithm::Spanish,
        "fi" => Algorithm::Finnish,
        "fr" => Algorithm::French,
        "hu" => Algorithm::Hungarian,
        "it" => Algorithm::Italian,
        "nl" => Algorithm::Dutch,
        "no" => Algorithm::Norwegian,
        "pt" => Algorithm::Portuguese,
        "ro" => Algorithm::Romanian,
        "ru" => Algorithm::Russian,
        "sv" => Algorithm::Swedish,
        "tr" => Algorithm::Turkish,
        "ca" | "eu" | "hy" | "ir" | "lt" => return Err(not_supported(format!("word_stem for language '{code}' is not supported"))),
        other => return Err(invalid(format!("word_stem knows no language '{other}'"))),
    })
}
