//! Texts taken apart at separators.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, MapBuilder, MapFieldNames, StringBuilder};
use datafusion::error::Result;

use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new(
        "split",
        &["(varchar, varchar) -> array(varchar)", "(varchar, varchar, bigint) -> array(varchar)"],
        split,
        "The parts between separators, at most so many, of which the last is the rest.",
    ),
    Scalar::new(
        "split_part",
        &["(varchar, varchar, bigint) -> varchar"],
        split_part,
        "The n-th of the parts between separators; NULL if there are fewer.",
    ),
    Scalar::new(
        "split_to_map",
        &["(varchar, varchar, varchar) -> map(varchar, varchar)"],
        split_to_map,
        "A map of the entries between separators, each a key and a value with another separator between them.",
    ),
    Scalar::new(
        "split_to_multimap",
        &["(varchar, varchar, varchar) -> map(varchar, array(varchar))"],
        split_to_multimap,
        "The same for keys that are there more than once, with an array of all values of a key.",
    ),
];

fn split(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, separators) = (call.text(0)?, call.text(1)?);
    let limits = if call.len() > 2 { Some(call.bigint(2)?) } else { None };
    call.text_lists(|row, out| {
        let separator = separators.value(row);
        if separator.is_empty() {
            return Err(invalid("the separator must not be empty"));
        }
        let limit = match limits.map(|limits| limits.value(row)) {
            None => usize::MAX,
            Some(limit) => i32::try_from(limit)
                .ok()
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|&limit| limit > 0)
                .ok_or_else(|| invalid(format!("the limit is from 1 to 2147483647, not {limit}")))?,
        };
        texts.value(row).splitn(limit, separator).for_each(|part| out.append_value(part));
        Ok(())
    })
}

fn split_part(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, separators, places) = (call.text(0)?, call.text(1)?, call.bigint(2)?);
    call.texts(|row| {
        let (text, separator) = (texts.value(row), separators.value(row));
        let place = places.value(row);
        if place < 1 {
            return Err(invalid(format!("the number of a part is from 1 on, not {place}")));
        }
        let Ok(before) = usize::try_from(place - 1) else { return Ok(None) };
        if separator.is_empty() {
            let character = text.char_indices().nth(before);
            return Ok(character.and_then(|(place, character)| text.get(place..place + character.len_utf8())));
        }
        Ok(text.split(separator).nth(before))
    })
}

/// Calls `add` for each key and value of a text.
fn entries<'a>(text: &'a str, entry_separator: &str, key_separator: &str, mut add: impl FnMut(&'a str, &'a str) -> Result<()>) -> Result<()> {
    if entry_separator.is_empty() || key_separator.is_empty() {
        return Err(invalid("separators must not be empty"));
    }
    if entry_separator == key_separator {
        return Err(invalid("the separators of entries and of keys must differ"));
    }
    let mut rest = text;
    while !rest.is_empty() {
        let (entry, behind) = rest.split_once(entry_separator).unwrap_or((rest, ""));
        match entry.split_once(key_separator) {
            Some((key, value)) if !value.contains(key_separator) => add(key, value)?,
            _ => return Err(invalid(format!("'{entry}' is no entry: a key, '{key_separator}' and a value are"))),
        }
        rest = behind;
    }
    Ok(())
}

fn names() -> Option<MapFieldNames> {
    Some(MapFieldNames { entry: "entries".to_owned(), key: "key".to_owned(), value: "value".to_owned() })
}

fn split_to_map(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, entry_separators, key_separators) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let mut maps = MapBuilder::new(names(), StringBuilder::new(), StringBuilder::new());
    let mut seen = HashSet::new();
    for row in 0..call.rows() {
        if !call.is_null(row) {
            seen.clear();
            entries(texts.value(row), entry_separators.value(row), key_separators.value(row), |key, value| {
                if !seen.insert(key) {
                    return Err(invalid(format!("key '{key}' is there twice")));
                }
                maps.keys().append_value(key);
                maps.values().append_value(value);
                Ok(())
            })?;
        }
        maps.append(!call.is_null(row))?;
    }
    Ok(Arc::new(maps.finish()))
}

fn split_to_multimap(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, entry_separators, key_separators) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let mut maps = MapBuilder::new(names(), StringBuilder::new(), ListBuilder::new(StringBuilder::new()));
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in 0..call.rows() {
        if !call.is_null(row) {
            places.clear();
            entries(texts.value(row), entry_separators.value(row), key_separators.value(row), |key, value| {
                let place = *places.entry(key).or_insert(found.len());
                match found.get_mut(place) {
                    Some((_, values)) => values.push(value),
                    None => found.push((key, vec![value])),
                }
                Ok(())
            })?;
            for (key, values) in found.drain(..) {
                maps.keys().append_value(key);
                values.into_iter().for_each(|value| maps.values().values().append_value(value));
                maps.values().append(true);
            }
        }
        maps.append(!call.is_null(row))?;
    }
    Ok(Arc::new(maps.finish()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, StringViewArray};
    use arrow::datatypes::DataType;
    use datafusion::common::config::ConfigOptions;

    use super::*;
    use crate::signature::map_type;

    #[test]
    fn maps_are_made_of_several_rows() {
        let text = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringViewArray::from(values)) };
        let arguments = [text(vec![Some("a=1,b=2"), None, Some(""), Some("b=3,a=4")]), text(vec![Some(","); 4]), text(vec![Some("="); 4])];
        let returns = map_type(&DataType::Utf8, &DataType::Utf8);
        let config = ConfigOptions::default();
        let made = split_to_map(&Call::new(&arguments, 4, &returns, &config, false)).unwrap();
        assert_eq!(*made.data_type(), returns);
        let maps = made.as_map();
        assert_eq!((0..4).map(|row| maps.value_length(row)).collect::<Vec<_>>(), [2, 0, 0, 2]);
        assert!(maps.is_null(1) && !maps.is_null(2));
        assert_eq!(maps.keys().as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b", "b", "a"]);
    }

    #[test]
    fn values_of_a_key_stand_together() {
        let arguments: [ArrayRef; 3] = ["a=1,b=2,a=3", ",", "="].map(|value| Arc::new(StringViewArray::from(vec![value])) as ArrayRef);
        let config = ConfigOptions::default();
        let made = split_to_multimap(&Call::new(&arguments, 1, &DataType::Null, &config, false)).unwrap();
        let maps = made.as_map();
        assert_eq!(maps.keys().as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(maps.values().as_list::<i32>().value(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["1", "3"]);
    }
}
