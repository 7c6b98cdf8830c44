"""Sends logs, metrics and traces with OpenTelemetry's own SDK: send.py (grpc|http) ADDRESS COMPRESSION [CERTIFICATE].

With a certificate, over TLS with a server that has it.

Says "sent" when all of it was answered with success.
"""

import importlib
import logging
import sys
import warnings

warnings.simplefilter("ignore")

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

protocol, address, compression = sys.argv[1:4]
certificate = sys.argv[4] if len(sys.argv) > 4 else None
package = "opentelemetry.exporter.otlp.proto." + protocol


def exporter(module, name, path):
    """An exporter of that protocol."""
    made = getattr(importlib.import_module(package + "." + module), name)
    if protocol == "grpc":
        import grpc

        kind = grpc.Compression.Gzip if compression == "gzip" else grpc.Compression.NoCompression
        if certificate is None:
            return made(endpoint=address, insecure=True, compression=kind)
        with open(certificate, "rb") as file:
            trusted = grpc.ssl_channel_credentials(root_certificates=file.read())
        return made(endpoint=address, credentials=trusted, compression=kind)
    kind = importlib.import_module(package).Compression
    kind = kind.Gzip if compression == "gzip" else kind.NoCompression
    scheme = "http://" if certificate is None else "https://"
    return made(endpoint=scheme + address + path, compression=kind, certificate_file=certificate)


class Failures(logging.Handler):
    """What the SDK complains about."""

    seen = []

    def emit(self, record):
        if record.levelno >= logging.WARNING:
            self.seen.append(record.getMessage())


logging.getLogger("opentelemetry").addHandler(Failures())
resource = Resource.create({"service.name": "shop", "service.instance.id": "1", "k8s.pod.name": "pod"})

tracer_provider = TracerProvider(resource=resource)
tracer_provider.add_span_processor(
    SimpleSpanProcessor(exporter("trace_exporter", "OTLPSpanExporter", "/v1/traces"))
)
logger_provider = LoggerProvider(resource=resource)
logger_provider.add_log_record_processor(
    SimpleLogRecordProcessor(exporter("_log_exporter", "OTLPLogExporter", "/v1/logs"))
)
tracer = tracer_provider.get_tracer("cart", "1.2")
logger = logger_provider.get_logger("cart", "1.2")
with tracer.start_as_current_span("checkout", kind=SpanKind.SERVER, attributes={"items": [1, 2]}) as span:
    span.add_event("paid", {"sum": 9.5})
    span.set_status(Status(StatusCode.ERROR, "no stock"))
    from opentelemetry._logs import LogRecord, SeverityNumber

    logger.emit(
        LogRecord(
            body={"order": 7, "by": "ann"},
            severity_number=SeverityNumber.WARN2,
            severity_text="warning",
            attributes={"http.method": "POST", "paid": True},
            timestamp=1544712660300000007,
            context=None,
            event_name="ordered",
        )
    )

reader = InMemoryMetricReader()
view = View(instrument_type=Histogram, instrument_name="sizes", aggregation=ExponentialBucketHistogramAggregation())
meter = MeterProvider([reader], resource=resource, views=[view]).get_meter("cart", "1.2")
meter.create_counter("orders", "1").add(3, {"shop": "a"})
meter.create_gauge("stock", "1").set(2.5, {"shop": "a"})
histogram = meter.create_histogram("latency", "ms", explicit_bucket_boundaries_advisory=[10.0, 100.0])
for value in (5, 50, 60, 500):
    histogram.record(value)
for value in (0, 1.5, 3):
    meter.create_histogram("sizes", "By").record(value)
metrics = exporter("metric_exporter", "OTLPMetricExporter", "/v1/metrics")
result = metrics.export(reader.get_metrics_data())
if result is not MetricExportResult.SUCCESS or Failures.seen:
    sys.exit("not everything was taken: " + "; ".join(Failures.seen))
print("sent")
