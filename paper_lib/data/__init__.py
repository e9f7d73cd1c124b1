"""Host half: replay, named random streams, run store. numpy and files; never jax."""
