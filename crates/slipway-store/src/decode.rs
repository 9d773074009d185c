//! From columns to types and back. A column that can't be read is reported by its name, never guessed.

use crate::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row, Sqlite, Type};
use std::fmt::Display;

pub(crate) fn get<'r, T>(row: &'r SqliteRow, column: &'static str) -> Result<T, StoreError>
where
    T: Decode<'r, Sqlite> + Type<Sqlite>,
{
    row.try_get(column).map_err(|error| corrupt(column, error))
}

/// A text column through a `parse`.
pub(crate) fn parsed<T, E: Display>(
    row: &SqliteRow,
    column: &'static str,
    parse: impl Fn(String) -> Result<T, E>,
) -> Result<T, StoreError> {
    parse(get(row, column)?).map_err(|error| corrupt(column, error))
}

pub(crate) fn parsed_option<T, E: Display>(
    row: &SqliteRow,
    column: &'static str,
    parse: impl Fn(String) -> Result<T, E>,
) -> Result<Option<T>, StoreError> {
    let text: Option<String> = get(row, column)?;
    text.map(parse).transpose().map_err(|error| corrupt(column, error))
}

/// A text column with one of a few words.
pub(crate) fn word<T>(
    row: &SqliteRow,
    column: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, StoreError> {
    parsed(row, column, |text| parse(&text).ok_or(format!("`{text}` is unknown")))
}

pub(crate) fn word_option<T>(
    row: &SqliteRow,
    column: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    parsed_option(row, column, |text| parse(&text).ok_or(format!("`{text}` is unknown")))
}

pub(crate) fn json<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError> {
    parsed(row, column, |text| serde_json::from_str(&text))
}

pub(crate) fn json_option<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<Option<T>, StoreError> {
    parsed_option(row, column, |text| serde_json::from_str(&text))
}

/// A count, sequence or number, which is never negative.
pub(crate) fn number<T: TryFrom<i64>>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError> {
    let value: i64 = get(row, column)?;
    T::try_from(value).map_err(|_| corrupt(column, format!("{value} is out of range")))
}

pub(crate) fn number_option<T: TryFrom<i64>>(row: &SqliteRow, column: &'static str) -> Result<Option<T>, StoreError> {
    let value: Option<i64> = get(row, column)?;
    value.map(|value| T::try_from(value).map_err(|_| corrupt(column, format!("{value} is out of range")))).transpose()
}

/// For a bind: larger numbers than a column holds do not occur, and would be caught as a wrong value, not a panic.
pub(crate) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn encoded(what: &'static str, value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Encode { what, source })
}

fn corrupt(column: &'static str, reason: impl Display) -> StoreError {
    StoreError::Corrupt { column, reason: reason.to_string() }
}
