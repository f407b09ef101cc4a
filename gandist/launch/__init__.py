"""Everything that knows Ray: where a run goes, who watches it there, and what happens when something dies."""
