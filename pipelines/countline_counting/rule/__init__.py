"""The counting rule at lines and zones, and the series and flows that follow from its events."""
