"""The dashboards of Grafana, made from Python: one file for each, of a few kinds of panels.

    python -m deploy.monitoring.dashboards          writes deploy/monitoring/grafana/dashboards/*.json

The JSON is in the repository, since Grafana reads it as it is; a test keeps it equal to what is
written here.
"""
