//! The types of fields of the Elastic Common Schema, for definitions that only say `external: ecs`.
//!
//! Only what is no keyword stands here: most fields are one. Names and types are those of the published schema
//! (Apache-2.0).

/// What a field of the schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ecs {
    /// Its type.
    pub(super) kind: &'static str,
    /// Whether it has a `text` beside it, for searches in it.
    pub(super) has_text: bool,
}

const LONGS: &str = "bytes client.bytes client.packets client.port client.nat.port container.disk.read.bytes \
    container.disk.write.bytes container.network.egress.bytes container.network.ingress.bytes destination.bytes \
    destination.as.number destination.nat.port destination.packets destination.port client.as.number as.number \
    dns.answers.ttl event.duration event.sequence event.severity file.size host.cpu.count host.disk.read.bytes \
    host.disk.write.bytes host.network.egress.bytes host.network.egress.packets host.network.ingress.bytes \
    host.network.ingress.packets host.uptime http.request.body.bytes http.request.bytes http.response.body.bytes \
    http.response.bytes http.response.status_code log.offset log.origin.file.line log.syslog.facility.code \
    log.syslog.priority log.syslog.severity.code network.bytes network.packets process.args_count \
    process.exit_code process.parent.args_count process.parent.exit_code process.parent.pgid process.parent.pid \
    process.parent.ppid process.parent.thread.id process.parent.uptime process.pgid process.pid process.ppid \
    process.thread.id process.uptime rule.number server.as.number server.bytes server.nat.port server.packets \
    server.port source.as.number source.bytes source.nat.port source.packets source.port threat.indicator.port \
    threat.indicator.scanner_stats tls.client.x509.public_key_exponent tls.client.x509.public_key_size \
    tls.server.x509.public_key_exponent tls.server.x509.public_key_size url.port x509.public_key_exponent \
    x509.public_key_size span.duration.us transaction.duration.us";
const IPS: &str = "client.ip client.nat.ip destination.ip destination.nat.ip dns.resolved_ip host.ip host.nat.ip \
    observer.ip related.ip server.ip server.nat.ip source.ip source.nat.ip threat.indicator.ip";
const DATES: &str = "@timestamp event.created event.end event.ingested event.start file.accessed file.created \
    file.ctime file.mtime host.boot.time package.installed process.end process.parent.end process.parent.start \
    process.start threat.indicator.first_seen threat.indicator.last_seen threat.indicator.modified_at \
    tls.client.not_after tls.client.not_before tls.server.not_after tls.server.not_before \
    tls.client.x509.not_after tls.client.x509.not_before tls.server.x509.not_after tls.server.x509.not_before \
    x509.not_after x509.not_before";
const BOOLEANS: &str = "dll.code_signature.exists dll.code_signature.trusted dll.code_signature.valid \
    faas.coldstart file.code_signature.exists file.code_signature.trusted file.code_signature.valid \
    process.code_signature.exists process.code_signature.trusted process.code_signature.valid \
    process.interactive process.parent.interactive tls.established tls.resumed";
const FLOATS: &str = "event.risk_score event.risk_score_norm vulnerability.score.base \
    vulnerability.score.environmental vulnerability.score.temporal host.risk.calculated_score \
    host.risk.calculated_score_norm user.risk.calculated_score user.risk.calculated_score_norm";
const GEO_POINTS: &str = "client.geo.location destination.geo.location host.geo.location observer.geo.location \
    server.geo.location source.geo.location threat.indicator.geo.location geo.location";
const OBJECTS: &str = "labels container.labels";
const FLATTENED: &str = "process.parent.io process.io threat.indicator.file.elf.sections";
const TEXTS: &str = "message error.message";
const CONSTANTS: &str = "data_stream.type data_stream.dataset data_stream.namespace";
const WILDCARDS: &str = "registry.data.strings url.path";
/// Wildcards with a text beside them.
const SEARCHED: &str = "error.stack_trace http.request.body.content http.response.body.content \
    process.command_line process.parent.command_line threat.indicator.url.full \
    threat.indicator.url.original url.full url.original";
/// Keywords with a text beside them.
const NAMED: &str = "as.organization.name client.as.organization.name client.user.full_name client.user.name \
    destination.as.organization.name destination.user.full_name destination.user.name email.subject \
    file.path file.target_path host.os.full host.os.name host.user.full_name host.user.name \
    observer.os.full observer.os.name organization.name os.full os.name process.executable process.name \
    process.parent.executable process.parent.name process.parent.title process.parent.working_directory \
    process.title process.working_directory server.as.organization.name server.user.full_name \
    server.user.name source.as.organization.name source.user.full_name source.user.name \
    threat.technique.name threat.technique.subtechnique.name user.effective.full_name user.effective.name \
    user.full_name user.name user.target.full_name user.target.name user_agent.original user_agent.os.full \
    user_agent.os.name vulnerability.description";

const TABLE: [(&str, &str, bool); 13] = [
    (LONGS, "long", false),
    (IPS, "ip", false),
    (DATES, "date", false),
    (BOOLEANS, "boolean", false),
    (FLOATS, "float", false),
    (GEO_POINTS, "geo_point", false),
    (OBJECTS, "object", false),
    (FLATTENED, "flattened", false),
    (TEXTS, "match_only_text", false),
    (CONSTANTS, "constant_keyword", false),
    (WILDCARDS, "wildcard", false),
    (SEARCHED, "wildcard", true),
    (NAMED, "keyword", true),
];

/// What a field of the schema is; a keyword if it is not known.
pub(super) fn look_up(name: &str) -> Ecs {
    TABLE.iter().find(|(names, _, _)| names.split_ascii_whitespace().any(|known| known == name)).map_or(
        Ecs { kind: "keyword", has_text: false },
        |(_, kind, has_text)| Ecs { kind, has_text: *has_text },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice() {
        let mut names: Vec<&str> =
            TABLE.iter().flat_map(|(names, _, _)| names.split_ascii_whitespace()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn types_of_the_schema() {
        for (name, kind, has_text) in [
            ("source.ip", "ip", false),
            ("url.original", "wildcard", true),
            ("user.name", "keyword", true),
            ("event.kind", "keyword", false),
            ("labels", "object", false),
        ] {
            assert_eq!(look_up(name), Ecs { kind, has_text }, "{name}");
        }
    }
}
