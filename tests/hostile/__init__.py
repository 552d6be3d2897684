"""Files made to do harm, and the harness that shows that none of them does."""
