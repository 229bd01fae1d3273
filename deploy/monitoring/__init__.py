"""What watches Teddy: the configuration of Prometheus, its rules, Alertmanager's, and Grafana's dashboards.

python -m deploy.monitoring            Prometheus and Alertmanager from this machine's own binaries, for `make
                                              monitor`
"""
