/* Opened from disk, a page may not read another one: there the search shows titles only. */
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
