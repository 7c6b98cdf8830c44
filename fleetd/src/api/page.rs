//! Pages by number, cut from a whole list.

use fleet_protocol::fleet_v1::PageToken;

use super::answer::Failure;
use super::route::Query;

/// The page that a request asks for.
pub(super) fn token(query: &Query, limit: u16) -> Result<PageToken, Failure> {
    PageToken::of_request(query.all("nextPageToken"), limit)
        .map_err(|error| Failure::bad_request(error.to_string()))
}

/// The entries of a page, and the token of the next one. As in the original, a last page that is exactly
/// full still names a next one, which is empty.
pub(super) fn cut<'a, T: Clone + 'a>(
    entries: impl Iterator<Item = &'a T>,
    token: PageToken,
) -> (Vec<T>, String) {
    let limit = usize::from(token.limit);
    let page: Vec<T> = entries.skip(token.offset()).take(limit).cloned().collect();
    let next = if page.len() == limit { token.next() } else { None };
    (page, next.map(PageToken::encode).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_of(count: u32, page: u16) -> (Vec<u32>, String) {
        let entries: Vec<u32> = (0..count).collect();
        cut(entries.iter(), PageToken { limit: 2, page })
    }

    #[test]
    fn pages_are_cut_as_the_original_cuts_them() {
        let second = PageToken { limit: 2, page: 2 }.encode();
        assert_eq!(cut_of(3, 1), (vec![0, 1], second.clone()));
        assert_eq!(cut_of(3, 2), (vec![2], String::new()));
        assert_eq!(cut_of(2, 1), (vec![0, 1], second));
        assert_eq!(cut_of(2, 2), (vec![], String::new()));
        assert_eq!(cut_of(2, 60000), (vec![], String::new()));
    }
}
