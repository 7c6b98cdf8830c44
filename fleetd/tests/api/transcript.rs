//! What the original answered, and what is answered here: byte for byte, but for the differences below.

use fleet_cluster::documents::TargetState;
use http::{Method, header};

use crate::client::{SERVER, Server, request};
use crate::world::World;

/// The original's answers.
const ORIGINAL: &str = include_str!("../fixtures/original.txt");

/// An answer that differs, on purpose.
struct Difference {
    /// In which of the original's clusters.
    cluster: usize,
    /// The request: method and path.
    asked: &'static str,
    /// Its body.
    sent: &'static str,
    /// Our answer: the first line as in the fixture, then the body.
    answer: (&'static str, &'static str),
    /// Why.
    reason: &'static str,
}

const STATE_REFUSED: (&str, &str) = (
    "400 112 application/json",
    r#"{"error":{"code":400,"message":"invalid value \"bogus\" for desiredState: expect inactive, loaded or launched"}}"#,
);

const DIFFERENCES: &[Difference] = &[
    Difference {
        cluster: 0,
        asked: "GET /fleet/v1/state/nope.service",
        sent: "",
        answer: (
            "404 60 application/json",
            r#"{"error":{"code":404,"message":"unit state does not exist"}}"#,
        ),
        reason: "the original's handler failed and closed the connection; this answer was intended",
    },
    Difference {
        cluster: 0,
        asked: "PUT /fleet/v1/units/b.service",
        sent: r#"{"desiredState":"bogus","options":[{"section":"Service","name":"ExecStart","value":"/bin/sleep 1000"}]}"#,
        answer: STATE_REFUSED,
        reason: "the mistake is the client's, and it is told what it is",
    },
    Difference {
        cluster: 0,
        asked: "PUT /fleet/v1/units/t@.service",
        sent: r#"{"desiredState":"launched","options":[{"section":"Service","name":"ExecStart","value":"/bin/sleep 1000"}]}"#,
        answer: (
            "400 74 application/json",
            r#"{"error":{"code":400,"message":"cannot activate template \"t@.service\""}}"#,
        ),
        reason: "a template cannot be activated, not by creating it either",
    },
    Difference {
        cluster: 0,
        asked: "DELETE /fleet/v1/units/t@.service",
        sent: "",
        answer: ("404 54 application/json", r#"{"error":{"code":404,"message":"unit does not exist"}}"#),
        reason: "so the template was not made",
    },
    Difference {
        cluster: 0,
        asked: "PATCH /fleet/v1/machines",
        sent: r#"[{"op":"add","path":"/00000001aaaaaaaaaaaaaaaaaaaaaaaa/metadata/foo2","value":"bar"}]"#,
        answer: ("204 - application/json", ""),
        reason: "this is the form that the original's documentation describes",
    },
    Difference {
        cluster: 0,
        asked: "PATCH /fleet/v1/machines",
        sent: "{}",
        answer: (
            "400 131 application/json",
            r#"{"error":{"code":400,"message":"the body must be a list of operations: invalid type: map, expected a sequence at line 1 column 0"}}"#,
        ),
        reason: "types of the original's source mean nothing to a client",
    },
    Difference {
        cluster: 1,
        asked: "PUT /fleet/v1/units/poison.service",
        sent: r#"{"desiredState":"bogus"}"#,
        answer: STATE_REFUSED,
        reason: "the original stored it, and the unit could neither be read nor destroyed any more",
    },
    Difference {
        cluster: 1,
        asked: "GET /fleet/v1/units/poison.service",
        sent: "",
        answer: (
            "200 156 application/json",
            r#"{"currentState":"inactive","desiredState":"inactive","name":"poison.service","options":[{"name":"ExecStart","section":"Service","value":"/bin/sleep 1000"}]}"#,
        ),
        reason: "so the unit is as it was",
    },
    Difference {
        cluster: 1,
        asked: "GET /fleet/v1/units",
        sent: "",
        answer: (
            "200 168 application/json",
            r#"{"units":[{"currentState":"inactive","desiredState":"inactive","name":"poison.service","options":[{"name":"ExecStart","section":"Service","value":"/bin/sleep 1000"}]}]}"#,
        ),
        reason: "and is listed",
    },
    Difference {
        cluster: 1,
        asked: "DELETE /fleet/v1/units/poison.service",
        sent: "",
        answer: ("204 - -", ""),
        reason: "and can be destroyed",
    },
    Difference {
        cluster: 1,
        asked: "PUT /fleet/v1/units/poison.service",
        sent: r#"{"desiredState":"inactive"}"#,
        answer: (
            "409 78 application/json",
            r#"{"error":{"code":409,"message":"unit does not exist and options field empty"}}"#,
        ),
        reason: "and is gone then",
    },
];

/// A request and its answer.
#[derive(Debug)]
struct Exchange<'a> {
    method: Method,
    path: String,
    content_type: &'a str,
    sent: String,
    /// The status line of the fixture.
    status: &'a str,
    location: &'a str,
    body: String,
}

impl<'a> Exchange<'a> {
    fn parse(block: &'a str) -> Exchange<'a> {
        let mut lines = block.lines();
        let mut asked = lines.next().unwrap().splitn(3, ' ');
        let method = asked.next().unwrap().parse().unwrap();
        let path = expand(asked.next().unwrap());
        let content_type = asked.next().unwrap_or("");
        let mut lines = lines.peekable();
        let sent =
            lines.next_if(|line| line.starts_with("> ")).map_or(String::new(), |line| expand(&line[2..]));
        let status = lines.next().unwrap();
        let location = lines.next_if(|line| line.starts_with("Location: ")).map_or("", |line| &line[10..]);
        let body = lines.next().unwrap_or("").to_owned();
        assert_eq!(lines.next(), None, "{block}");
        Exchange { method, path, content_type, sent, status, location, body }
    }

    fn asked(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn bytes(&self) -> String {
        let headers = match self.content_type {
            "" => String::new(),
            content_type => format!("Content-Type: {content_type}\r\n"),
        };
        request(&self.method, &self.path, &headers, &self.sent)
    }
}

/// `{a*3}` stands for `aaa`.
fn expand(text: &str) -> String {
    let Some((before, rest)) = text.split_once("*").and_then(|_| {
        let at = text.match_indices('{').find(|(at, _)| text[at + 2..].starts_with('*'))?.0;
        Some(text.split_at(at))
    }) else {
        return text.to_owned();
    };
    let (count, after) = rest[3..].split_once('}').unwrap();
    format!("{before}{}{after}", rest[1..2].repeat(count.parse().unwrap()))
}

#[tokio::test]
async fn every_answer_of_the_original_is_given_here() {
    let mut used = vec![0; DIFFERENCES.len()];
    let mut wrong = Vec::new();
    for (cluster, part) in ORIGINAL.split("# a cluster without units\n").enumerate() {
        let server = Server::start(World::with_machines().await).await;
        for block in
            part.split("\n\n").map(str::trim).filter(|block| !block.starts_with('#') && !block.is_empty())
        {
            let exchange = Exchange::parse(block);
            if let Err(found) = compare(&server, cluster, &exchange, &mut used).await {
                wrong.push(found);
            }
            follow_up(&server.world, &exchange).await;
        }
        server.finish().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    for (difference, used) in DIFFERENCES.iter().zip(used) {
        assert_eq!(used, 1, "{} {}: {}", difference.asked, difference.sent, difference.reason);
    }
}

/// Asks; an answer that is not the expected one is described.
async fn compare(
    server: &Server,
    cluster: usize,
    exchange: &Exchange<'_>,
    used: &mut [usize],
) -> Result<(), String> {
    let mut connection = server.connect().await;
    connection.send(exchange.bytes()).await;
    let reply = connection.receive_to(&exchange.method).await;
    let or_dash = |value: &str| if value.is_empty() { "-".to_owned() } else { value.to_owned() };
    let status = format!(
        "{} {} {}",
        reply.status.as_u16(),
        or_dash(reply.header(header::CONTENT_LENGTH)),
        or_dash(reply.header(header::CONTENT_TYPE)),
    );
    let asked = exchange.asked();
    let original = (exchange.status, exchange.body.as_str());
    let difference = DIFFERENCES.iter().position(|difference| {
        (difference.cluster, difference.asked, difference.sent)
            == (cluster, asked.as_str(), exchange.sent.as_str())
    });
    let (expected, body) = difference.map_or(original, |index| {
        used[index] += 1;
        assert_ne!(DIFFERENCES[index].answer, original, "{asked}: no difference any more");
        DIFFERENCES[index].answer
    });
    let expected = (expected, body, exchange.location, SERVER);
    let found = (
        status.as_str(),
        reply.text().trim_end_matches('\n'),
        reply.header(header::LOCATION),
        reply.header(header::SERVER),
    );
    if found == expected {
        return Ok(());
    }
    Err(format!("{asked}\n> {}\nexpected {expected:?}\nfound    {found:?}", exchange.sent))
}

/// What happened between two of the requests.
async fn follow_up(world: &World, exchange: &Exchange<'_>) {
    match (exchange.asked().as_str(), exchange.sent.as_str()) {
        // Engine and agent did their work.
        ("PUT /fleet/v1/units/a.service", r#"{"desiredState":"launched"}"#) => {
            world.place("a.service", Some(1)).await;
            world.report("a.service", 1, TargetState::Launched).await;
        }
        // The original has refused it.
        ("PATCH /fleet/v1/machines", sent) if sent.contains("foo2") => {
            let path = "/00000001aaaaaaaaaaaaaaaaaaaaaaaa/metadata/foo2";
            let undone = world.patch(format!(r#"[{{"op":"remove","path":"{path}"}}]"#)).await;
            assert_eq!(undone.status, 204);
        }
        _ => {}
    }
}
