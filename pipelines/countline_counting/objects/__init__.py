"""From tracked boxes to sightings of objects."""
