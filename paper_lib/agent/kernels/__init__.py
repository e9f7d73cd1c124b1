"""Devices that buy speed, each beside the plain formula that it equals. Tests compare the two."""
