"""Configuration of DeepStream's elements, checked against known facts."""
