//! GetXdbcTypeInfo: the types of SQL, by which ODBC's SQLGetTypeInfo is answered.

use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode};

/// All types.
pub(super) fn build() -> Result<XdbcTypeInfoData, FlightError> {
    let mut builder = XdbcTypeInfoDataBuilder::new();
    let plain = [plain("boolean", XdbcDataType::XdbcBit, 1)];
    for info in plain.into_iter().chain(numbers()).chain(texts()).chain(times()) {
        builder.append(info);
    }
    builder.build()
}

fn numbers() -> [XdbcTypeInfo; 7] {
    let decimal = XdbcTypeInfo {
        create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
        maximum_scale: Some(38),
        ..integer("decimal", XdbcDataType::XdbcDecimal, 38)
    };
    [
        integer("tinyint", XdbcDataType::XdbcTinyint, 3),
        integer("smallint", XdbcDataType::XdbcSmallint, 5),
        integer("integer", XdbcDataType::XdbcInteger, 10),
        integer("bigint", XdbcDataType::XdbcBigint, 19),
        decimal,
        float("real", XdbcDataType::XdbcReal, 24),
        float("double", XdbcDataType::XdbcDouble, 53),
    ]
}

fn texts() -> [XdbcTypeInfo; 3] {
    let quoted = |info: XdbcTypeInfo, prefix: &str| XdbcTypeInfo {
        literal_prefix: Some(prefix.to_owned()),
        literal_suffix: Some("'".to_owned()),
        create_params: Some(vec!["length".to_owned()]),
        ..info
    };
    let text = |name, data_type| XdbcTypeInfo { case_sensitive: true, ..quoted(plain(name, data_type, i32::MAX), "'") };
    let binary = XdbcTypeInfo { create_params: None, ..quoted(plain("varbinary", XdbcDataType::XdbcVarbinary, i32::MAX), "X'") };
    [text("char", XdbcDataType::XdbcChar), text("varchar", XdbcDataType::XdbcVarchar), binary]
}

fn times() -> [XdbcTypeInfo; 4] {
    let fractional = |info: XdbcTypeInfo| XdbcTypeInfo { minimum_scale: Some(0), maximum_scale: Some(6), ..info };
    [
        // In ODBC 1 is the code of a date here; the enumeration calls it a year.
        time("date", XdbcDataType::XdbcDate, XdbcDatetimeSubcode::XdbcSubcodeYear, 10, "DATE '"),
        fractional(time("time", XdbcDataType::XdbcTime, XdbcDatetimeSubcode::XdbcSubcodeTime, 15, "TIME '")),
        fractional(time("timestamp", XdbcDataType::XdbcTimestamp, XdbcDatetimeSubcode::XdbcSubcodeTimestamp, 26, "TIMESTAMP '")),
        fractional(time(
            "timestamp with time zone",
            XdbcDataType::XdbcTimestamp,
            XdbcDatetimeSubcode::XdbcSubcodeTimestampWithTimezone,
            32,
            "TIMESTAMP '",
        )),
    ]
}

fn plain(name: &str, data_type: XdbcDataType, size: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type,
        column_size: Some(size),
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        local_type_name: Some(name.to_owned()),
        sql_data_type: data_type,
        ..XdbcTypeInfo::default()
    }
}

fn integer(name: &str, data_type: XdbcDataType, digits: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        unsigned_attribute: Some(false),
        auto_increment: Some(false),
        minimum_scale: Some(0),
        maximum_scale: Some(0),
        num_prec_radix: Some(10),
        ..plain(name, data_type, digits)
    }
}

fn float(name: &str, data_type: XdbcDataType, bits: i32) -> XdbcTypeInfo {
    XdbcTypeInfo { minimum_scale: None, maximum_scale: None, num_prec_radix: Some(2), ..integer(name, data_type, bits) }
}

fn time(name: &str, data_type: XdbcDataType, subcode: XdbcDatetimeSubcode, size: i32, prefix: &str) -> XdbcTypeInfo {
    XdbcTypeInfo {
        literal_prefix: Some(prefix.to_owned()),
        literal_suffix: Some("'".to_owned()),
        sql_data_type: XdbcDataType::XdbcDatetime,
        datetime_subcode: Some(subcode),
        ..plain(name, data_type, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_can_be_asked_for_by_number() -> Result<(), FlightError> {
        let types = build()?;
        assert_eq!(types.record_batch(None)?.num_rows(), 15);
        assert_eq!(types.record_batch(XdbcDataType::XdbcTimestamp as i32)?.num_rows(), 2);
        Ok(())
    }
}
