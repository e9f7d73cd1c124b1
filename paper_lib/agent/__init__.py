"""The device half: DreamerV3 v1 and Plan2Explore as pure functions on pytrees."""
