"""HTML reports: self-contained pages that load nothing."""
