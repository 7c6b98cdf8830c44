//! The text format of Prometheus, and OpenMetrics: lines to samples.
//!
//! Nothing that a line could hold stops the rest: a line that cannot be read is counted and passed over.

use std::borrow::Cow;

/// What a metric is, as its `TYPE` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
    /// Nothing is said, or something that is treated like a gauge.
    Unknown,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample<'a> {
    pub(super) name: Cow<'a, str>,
    /// The metric that it is of: the name, or for histograms and the like without the suffix.
    pub(super) family: &'a str,
    pub(super) kind: Kind,
    pub(super) labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(super) value: f64,
    /// Milliseconds since 1970.
    pub(super) timestamp: Option<i64>,
}

/// Lines that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) lines: u64,
    /// The number of the first of them, and what is wrong with it.
    pub(super) first: Option<(u64, &'static str)>,
}

/// Reads a text. In OpenMetrics, timestamps are seconds, and `# EOF` ends it.
pub(super) fn parse<'a>(text: &'a str, open_metrics: bool, mut visit: impl FnMut(Sample<'a>)) -> Unread {
    let mut unread = Unread::default();
    let mut family = ("", Kind::Unknown);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_matches(blank);
        if let Some(comment) = line.strip_prefix('#') {
            let comment = comment.trim_start_matches(blank);
            if open_metrics && comment == "EOF" {
                break;
            }
            if let Some(declared) = comment.strip_prefix("TYPE").filter(|rest| rest.starts_with(blank)) {
                family = declaration(declared);
            }
        } else if !line.is_empty() {
            match sample(line, open_metrics, family) {
                Ok(sample) => visit(sample),
                Err(problem) => {
                    unread.lines += 1;
                    unread.first.get_or_insert((number, problem));
                }
            }
        }
    }
    unread
}

fn blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r')
}

/// ` name type`.
fn declaration(text: &str) -> (&str, Kind) {
    let mut words = text.split(blank).filter(|word| !word.is_empty());
    let name = words.next().unwrap_or_default();
    let kind = match words.next().unwrap_or_default() {
        "counter" => Kind::Counter,
        "gauge" => Kind::Gauge,
        "histogram" => Kind::Histogram,
        "summary" => Kind::Summary,
        _ => Kind::Unknown,
    };
    (name.trim_matches('"'), kind)
}

fn sample<'a>(
    line: &'a str,
    open_metrics: bool,
    family: (&'a str, Kind),
) -> Result<Sample<'a>, &'static str> {
    let mut rest = line;
    let mut name = Cow::Borrowed(word(&mut rest, |letter| {
        letter.is_ascii_alphanumeric() || matches!(letter, '_' | ':')
    }));
    let mut labels = Vec::new();
    rest = rest.trim_start_matches(blank);
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        read_labels(&mut rest, &mut name, &mut labels)?;
    }
    if name.is_empty() || name.starts_with(|letter: char| letter.is_ascii_digit()) {
        return Err("it does not begin with a name");
    }
    let mut words = rest.split(blank).filter(|word| !word.is_empty());
    let value = words.next().ok_or("the value is missing")?;
    let value = value.parse::<f64>().map_err(|_| "the value is no number")?;
    // What follows the sign is an exemplar.
    let timestamp = match words.next().filter(|word| !word.starts_with('#')) {
        None => None,
        Some(text) => Some(time(text, open_metrics).ok_or("the timestamp is no number")?),
    };
    let (family, kind) = belongs(line, &name, family);
    Ok(Sample { name, family, kind, labels, value, timestamp })
}

/// The metric that a sample of this name is of.
fn belongs<'a>(line: &'a str, name: &str, (family, kind): (&'a str, Kind)) -> (&'a str, Kind) {
    let suffixes: &[&str] = match kind {
        Kind::Counter => &["", "_total"],
        Kind::Histogram => &["_bucket", "_sum", "_count"],
        Kind::Summary => &["", "_sum", "_count"],
        Kind::Gauge | Kind::Unknown => &["", "_info"],
    };
    if !family.is_empty() && name.strip_prefix(family).is_some_and(|rest| suffixes.contains(&rest)) {
        return (family, kind);
    }
    // A name in quotes is not at the beginning of the line; its family is of no use to anybody then.
    (line.get(..name.len()).filter(|start| *start == name).unwrap_or_default(), Kind::Unknown)
}

fn word<'a>(rest: &mut &'a str, part: impl Fn(char) -> bool) -> &'a str {
    let end = rest.find(|letter| !part(letter)).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    word
}

/// `a="b", c="d"}`. A name in quotes without a value is that of the metric.
fn read_labels<'a>(
    rest: &mut &'a str,
    metric: &mut Cow<'a, str>,
    labels: &mut Vec<(Cow<'a, str>, Cow<'a, str>)>,
) -> Result<(), &'static str> {
    loop {
        *rest = rest.trim_start_matches(blank);
        if let Some(after) = rest.strip_prefix('}') {
            *rest = after;
            return Ok(());
        }
        let name = if rest.starts_with('"') {
            quoted(rest)?
        } else {
            Cow::Borrowed(word(rest, |letter| letter.is_ascii_alphanumeric() || letter == '_'))
        };
        *rest = rest.trim_start_matches(blank);
        if let Some(after) = rest.strip_prefix('=') {
            *rest = after.trim_start_matches(blank);
            if name.is_empty() {
                return Err("a label has no name");
            }
            labels.push((name, quoted(rest)?));
        } else if metric.is_empty() && !name.is_empty() {
            *metric = name;
        } else {
            return Err("a label has no value");
        }
        *rest = rest.trim_start_matches(blank);
        match rest.strip_prefix(',') {
            Some(after) => *rest = after,
            None if rest.starts_with('}') => {}
            None => return Err("the labels do not end"),
        }
    }
}

/// A text in quotes, with `\\`, `\"` and `\n`.
fn quoted<'a>(rest: &mut &'a str) -> Result<Cow<'a, str>, &'static str> {
    let inside = rest.strip_prefix('"').ok_or("a label's value is not in quotes")?;
    let mut text = Cow::Borrowed("");
    let mut from = 0;
    loop {
        let found = inside.get(from..).and_then(|tail| tail.find(['"', '\\']));
        let at = from + found.ok_or("a label's value does not end")?;
        let piece = inside.get(from..at).unwrap_or_default();
        if text.is_empty() {
            text = Cow::Borrowed(piece);
        } else {
            text.to_mut().push_str(piece);
        }
        if inside.as_bytes()[at] == b'"' {
            *rest = inside.get(at + 1..).unwrap_or_default();
            return Ok(text);
        }
        let escaped = inside.get(at + 1..).and_then(|tail| tail.chars().next());
        let escaped = escaped.ok_or("a label's value does not end")?;
        match escaped {
            'n' => text.to_mut().push('\n'),
            '\\' | '"' => text.to_mut().push(escaped),
            other => text.to_mut().extend(['\\', other]),
        }
        from = at + 1 + escaped.len_utf8();
    }
}

/// Milliseconds, or seconds with a fraction in OpenMetrics.
fn time(text: &str, open_metrics: bool) -> Option<i64> {
    if !open_metrics {
        return text.parse().ok();
    }
    let millis = text.parse::<f64>().ok()? * 1000.0;
    // Beyond that no time has so many milliseconds.
    #[expect(clippy::cast_possible_truncation, reason = "checked")]
    (millis.abs() < 1e15).then_some(millis as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, open_metrics: bool) -> (Vec<Sample<'_>>, Unread) {
        let mut samples = Vec::new();
        let unread = parse(text, open_metrics, |sample| samples.push(sample));
        (samples, unread)
    }

    fn labels<'a>(sample: &'a Sample<'_>) -> Vec<(&'a str, &'a str)> {
        sample.labels.iter().map(|(name, value)| (&**name, &**value)).collect()
    }

    #[test]
    fn the_text_format_is_read() {
        let text = "# HELP http_requests_total The total number of HTTP requests.\n\
            # TYPE http_requests_total counter\n\
            http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n\
            http_requests_total{method=\"post\",code=\"400\",}    3 1395066363000\n\n\
            msdos_file_access_time_seconds{path=\"C:\\\\DIR\\\\FILE.TXT\",error=\"Cannot find file:\\n\\\"FILE.TXT\\\"\"} 1.458255915e9\n\
            metric_without_timestamp_and_labels 12.47\n\
            something_weird{problem=\"division by zero\"} +Inf -3982045\n\
            # TYPE h histogram\n\
            h_bucket{le=\"+Inf\"} 144320\n  h_sum\t53423\n";
        let (samples, unread) = read(text, false);
        assert_eq!((samples.len(), unread), (7, Unread::default()));
        assert_eq!(
            (samples[0].value, samples[0].timestamp, samples[0].kind),
            (1027.0, Some(1_395_066_363_000), Kind::Counter)
        );
        assert_eq!(labels(&samples[1]), [("method", "post"), ("code", "400")]);
        assert_eq!(
            labels(&samples[2]),
            [("path", "C:\\DIR\\FILE.TXT"), ("error", "Cannot find file:\n\"FILE.TXT\"")]
        );
        assert_eq!(
            (samples[3].family, samples[3].kind),
            ("metric_without_timestamp_and_labels", Kind::Unknown)
        );
        assert_eq!((samples[4].value, samples[4].timestamp), (f64::INFINITY, Some(-3_982_045)));
        assert_eq!((samples[5].family, samples[5].kind), ("h", Kind::Histogram));
        assert_eq!((&*samples[6].name, samples[6].family, samples[6].value), ("h_sum", "h", 53423.0));
    }

    #[test]
    fn open_metrics_is_read() {
        let text = "# TYPE foo counter\n# UNIT foo seconds\n\
            foo_total{a=\"b\"} 17.0 1520879607.789 # {trace_id=\"KOO\"} 0.67 1520879607.8\n\
            foo_bucket{le=\"1\"} 3 # {} 1\n{\"utf8.name\", \"l.a\"=\"x\"} 1\n# EOF\nafter 1\n";
        let (samples, unread) = read(text, true);
        assert_eq!((samples.len(), unread), (3, Unread::default()));
        assert_eq!((samples[0].family, samples[0].timestamp), ("foo", Some(1_520_879_607_789)));
        assert_eq!((samples[1].timestamp, samples[1].kind), (None, Kind::Unknown));
        assert_eq!((&*samples[2].name, labels(&samples[2])), ("utf8.name", vec![("l.a", "x")]));
    }

    #[test]
    fn lines_that_cannot_be_read_are_told_and_passed_over() {
        let lines = [
            "{} 1",
            "1a 1",
            "a",
            "a b",
            "a 1 x",
            "a{b} 1",
            "a{b=c} 1",
            "a{b=\"c} 1",
            "a{b=\"c\" 1",
            "a{=\"c\"} 1",
            "a{b=\"\\",
        ];
        let text = format!("a 1\n{}\nb 2", lines.join("\n"));
        let (samples, unread) = read(&text, false);
        assert_eq!(samples.len(), 2, "{samples:?}");
        assert_eq!(
            (unread.lines, unread.first),
            (lines.len() as u64, Some((2, "it does not begin with a name")))
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_it_down(text in r#"([a-z#{}"\\=, \n\t0-9.é-]|TYPE|histogram|EOF|NaN|_bucket|_total){0,60}"#, open in any::<bool>()) {
            read(&text, open);
        }

        #[test]
        fn label_values_come_back(value in ".*") {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            prop_assume!(!value.contains('\r'));
            let text = format!("m{{l=\"{escaped}\"}} 1");
            let (samples, _) = read(&text, false);
            prop_assert_eq!(&samples[0].labels[0].1, &value);
        }
    }
}
