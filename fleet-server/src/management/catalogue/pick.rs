//! A few fields of something that can be serialised: lists look at one or two fields of each of very many documents.

use serde::Serialize;
use serde::ser::{Error as _, Impossible, SerializeMap, SerializeStruct, Serializer};
use serde_json::{Error, Map, Value, to_value};

/// An object with those of these fields that `item` has at its top.
pub(super) fn picked<T: Serialize>(item: &T, names: &[&str]) -> Value {
    let picked = item.serialize(Pick(names));
    // What is no object has no fields; what cannot be serialised is nothing.
    picked.map_or(Value::Null, Value::Object)
}

#[derive(Clone, Copy)]
struct Pick<'a>(&'a [&'a str]);

/// The fields that have been met.
struct Members<'a> {
    names: &'a [&'a str],
    found: Map<String, Value>,
    /// The key whose value comes next, if it is asked for.
    key: Option<String>,
}

impl<'a> Members<'a> {
    fn of(Pick(names): Pick<'a>) -> Members<'a> {
        Members { names, found: Map::new(), key: None }
    }
}

impl SerializeStruct for Members<'_> {
    type Ok = Map<String, Value>;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
        if self.names.contains(&key) {
            self.found.insert(key.to_owned(), to_value(value)?);
        }
        Ok(())
    }

    fn end(self) -> Result<Map<String, Value>, Error> {
        Ok(self.found)
    }
}

impl SerializeMap for Members<'_> {
    type Ok = Map<String, Value>;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let key = to_value(key)?;
        let name = key.as_str().filter(|name| self.names.contains(name));
        self.key = name.map(str::to_owned);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        if let Some(key) = self.key.take() {
            self.found.insert(key, to_value(value)?);
        }
        Ok(())
    }

    fn end(self) -> Result<Map<String, Value>, Error> {
        Ok(self.found)
    }
}

fn no_object<T>() -> Result<T, Error> {
    Err(Error::custom("this is no object"))
}

macro_rules! no_objects {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, _: $type) -> Result<Self::Ok, Error> {
            no_object()
        })*
    };
}

impl<'a> Serializer for Pick<'a> {
    type Ok = Map<String, Value>;
    type Error = Error;
    type SerializeSeq = Impossible<Self::Ok, Error>;
    type SerializeTuple = Impossible<Self::Ok, Error>;
    type SerializeTupleStruct = Impossible<Self::Ok, Error>;
    type SerializeTupleVariant = Impossible<Self::Ok, Error>;
    type SerializeMap = Members<'a>;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = Impossible<Self::Ok, Error>;

    no_objects! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    }

    fn serialize_none(self) -> Result<Self::Ok, Error> {
        no_object()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Self::Ok, Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Self::Ok, Error> {
        no_object()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<Self::Ok, Error> {
        no_object()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Self::Ok, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Self::Ok, Error> {
        no_object()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Error> {
        no_object()
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
        no_object()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
        no_object()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        no_object()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'a>, Error> {
        Ok(Members::of(self))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'a>, Error> {
        Ok(Members::of(self))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        no_object()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    struct Whole {
        name: &'static str,
        #[serde(rename = "type")]
        kind: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        missing: Option<u8>,
        nested: Value,
    }

    #[derive(Serialize)]
    struct Flat {
        id: u8,
        #[serde(flatten)]
        whole: Whole,
    }

    #[derive(Serialize)]
    struct Wrapped(Whole);

    fn whole() -> Whole {
        Whole { name: "a", kind: 7, missing: None, nested: json!({"a": [1], "name": "b"}) }
    }

    #[test]
    fn fields_are_those_of_the_whole() {
        let names = ["type", "nested", "missing", "id"];
        let picked_of = json!({"type": 7, "nested": {"a": [1], "name": "b"}});
        assert_eq!(picked(&whole(), &names), picked_of);
        assert_eq!(picked(&&whole(), &names), picked_of);
        assert_eq!(picked(&Some(Wrapped(whole())), &names), picked_of);
        assert_eq!(picked(&json!(whole()), &names), picked_of);
        assert_eq!(picked(&Flat { id: 1, whole: whole() }, &["id", "name"]), json!({"id": 1, "name": "a"}));
        assert_eq!(picked(&BTreeMap::from([("a", 1), ("b", 2)]), &["b"]), json!({"b": 2}));
        for nothing in [json!(1), json!("a"), json!([whole()]), Value::Null] {
            assert_eq!(picked(&nothing, &names), Value::Null, "{nothing}");
        }
    }
}
