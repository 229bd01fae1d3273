"""Runs in an experiment tracker."""
