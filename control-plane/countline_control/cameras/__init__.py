"""The service of sites and cameras."""
