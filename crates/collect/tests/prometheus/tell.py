"""Tells metrics of every kind with Prometheus' own library, and its address on standard output."""

import sys

from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary, start_http_server

registry = CollectorRegistry()
Counter("requests", 'Lines\nand "quotes".', ["path"], registry=registry).labels('a\\b"c\nd').inc(3)
Gauge("heat", "Of the room.", registry=registry).set(-0.5)
Summary("waited", "For how long.", registry=registry).observe(2.5)
histogram = Histogram("took", "How long.", buckets=(1, 3), registry=registry)
for value in (0.5, 2, 2, 9):
    histogram.observe(value, {"trace_id": "KOOKOOCHOO"})
Info("build", "Which.", registry=registry).info({"version": "1.2"})
Enum("mood", "How it is.", states=["up", "down"], registry=registry).state("down")

server, _ = start_http_server(0, addr="127.0.0.1", registry=registry)
print("127.0.0.1:%d" % server.server_port, flush=True)
# Until whoever has started it has gone.
sys.stdin.read()
