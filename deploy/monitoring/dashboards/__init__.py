"""Grafana dashboards as Python data: `python -m deploy.monitoring.dashboards` writes the JSON."""
