"""Decisions, pure: values in, a value with its reason out; no clock, no store, no network."""
