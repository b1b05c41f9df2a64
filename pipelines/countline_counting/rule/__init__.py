"""The counting rule: lines, zones, flows, and the reasons why a near-crossing does not count."""
