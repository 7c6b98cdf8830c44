//! Attributes: names with values of any type.

/// A name with a value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyValue {
    /// The name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// A value of any type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AnyValue {
    /// The value; absent: null.
    #[prost(oneof = "Variant", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub value: Option<Variant>,
}

/// The types of values.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Variant {
    /// A text.
    #[prost(string, tag = "1")]
    Text(String),
    /// Yes or no.
    #[prost(bool, tag = "2")]
    Bool(bool),
    /// A whole number.
    #[prost(int64, tag = "3")]
    Int(i64),
    /// A number.
    #[prost(double, tag = "4")]
    Double(f64),
    /// A list.
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    /// Names with values.
    #[prost(message, tag = "6")]
    Map(KeyValueList),
    /// Bytes.
    #[prost(bytes = "vec", tag = "7")]
    Bytes(Vec<u8>),
}

/// A list of values.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ArrayValue {
    /// The values.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<AnyValue>,
}

/// A list of names with values.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyValueList {
    /// The names with their values.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<KeyValue>,
}

impl KeyValue {
    /// A name with a text.
    #[must_use]
    pub fn text(key: &str, value: &str) -> KeyValue {
        let value = AnyValue { value: Some(Variant::Text(value.to_owned())) };
        KeyValue { key: key.to_owned(), value: Some(value) }
    }

    /// The value, if it is a text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.value.as_ref()?.value.as_ref()? {
            Variant::Text(text) => Some(text),
            _ => None,
        }
    }
}
