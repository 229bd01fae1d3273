from teddy.service.observability.metrics import Metrics


def test_an_objective_of_latency_is_an_edge_of_the_histogram() -> None:
    metrics = Metrics()
    metrics.request("GET", "/health/live", 200, 0.009)
    text = metrics.exposition().decode()
    assert 'teddy_request_seconds_bucket{le="0.005",route="/health/live",status="200"} 0.0' in text
    assert 'teddy_request_seconds_bucket{le="0.01",route="/health/live",status="200"} 1.0' in text
