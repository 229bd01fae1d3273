"""Monitoring of Teddy: Prometheus, its rules, Alertmanager and Grafana's dashboards.

`python -m deploy.monitoring` runs this machine's own Prometheus and Alertmanager (`make monitor`).
"""
