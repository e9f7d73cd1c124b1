"""Devices that buy speed. Each stands beside the plain formula that it equals, and a test compares the two."""
