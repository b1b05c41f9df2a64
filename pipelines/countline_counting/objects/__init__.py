"""From tracked boxes to sights of objects."""
