//! Page tokens.

use fleet_protocol::fleet_v1::PageToken;
use proptest::prelude::*;

#[test]
fn tokens_are_those_of_the_original() {
    let second = PageToken::first(100).next().unwrap();
    assert_eq!(second.encode(), "ZAACAA==");
    assert_eq!(PageToken::decode("ZAACAA=="), Ok(second));
    assert_eq!(second.offset(), 100);
    assert_eq!(PageToken { limit: 65535, page: 65535 }.offset(), 65534 * 65535);
    assert_eq!(PageToken { limit: 100, page: 65535 }.next(), None);
}

#[test]
fn a_request_without_a_token_asks_for_the_first_page() {
    assert_eq!(PageToken::of_request([], 100), Ok(PageToken { limit: 100, page: 1 }));
    assert_eq!(PageToken::of_request(["ZAACAA=="], 100), Ok(PageToken { limit: 100, page: 2 }));
    // Go's decoder ignores newlines and the last bits, and its reader what is too much.
    assert_eq!(PageToken::of_request(["ZA\nACAB=\r=\n"], 100), Ok(PageToken { limit: 100, page: 2 }));
    assert_eq!(PageToken::of_request(["ZAACAP__"], 100), Ok(PageToken { limit: 100, page: 2 }));
}

#[test]
fn bad_tokens_say_why() {
    let illegal = |at: usize| format!("illegal base64 data at input byte {at}");
    let cases: [(&[&str], String); 15] = [
        (&["EwBMLg=="], "token limit must be 100".into()),
        (&["ZAAAAA=="], "token page must be greater than zero".into()),
        (&["a", "b"], "too many values for page token".into()),
        (&[""], "EOF".into()),
        (&["ZAA="], "unexpected EOF".into()),
        (&["ZAAC"], "unexpected EOF".into()),
        (&["zzz"], illegal(0)),
        (&["ZAACAA"], illegal(4)),
        (&["ZAACAA="], illegal(7)),
        (&["ZAACAA=x"], illegal(6)),
        (&["ZAACAA==x"], illegal(8)),
        (&["ZAAC===="], illegal(4)),
        (&["ZAA+AA=="], illegal(3)),
        (&["ZAA/AA=="], illegal(3)),
        (&["Z A"], illegal(1)),
    ];
    for (values, expected) in cases {
        let error = PageToken::of_request(values.iter().copied(), 100).unwrap_err();
        assert_eq!(error.to_string(), expected, "{values:?}");
    }
}

proptest! {
    #[test]
    fn every_token_is_read_as_it_was_written(limit: u16, page: u16) {
        let token = PageToken { limit, page };
        prop_assert_eq!(PageToken::decode(&token.encode()), Ok(token));
    }

    #[test]
    fn no_text_panics(text in "[A-Z=\n\\PC]{0,12}", limit: u16) {
        let result = PageToken::of_request([text.as_str()], limit);
        prop_assert!(result.is_ok_and(|token| token.limit == limit && token.page > 0) || result.is_err());
    }
}
