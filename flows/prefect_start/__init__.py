"""What has to hold before Prefect can start: proxies, settings, the configured API, one first start at a time."""
