"""The comparison of many methods: tables, bars of success, words and figures."""
