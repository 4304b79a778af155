"""The live viewer: runs as pages in the browser, followed by reading their store."""
