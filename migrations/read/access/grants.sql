-- What each component may do in a read database. All of it is taken back first, so what does not stand here nobody has. A table that is
-- new has a line here and, where its rows are somebody's, one in rows.sql.

GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON order_view, order_search, order_facets, task_inbox, timeline, catalog TO orderstore_projection;
GRANT SELECT, INSERT, UPDATE, DELETE ON checkpoints, skips TO orderstore_projection;
GRANT SELECT, INSERT ON audit TO orderstore_projection;

GRANT SELECT ON order_view, order_search, order_facets, task_inbox, timeline, catalog, checkpoints TO orderstore_query;
GRANT EXECUTE ON FUNCTION search_orders, estimate_search TO orderstore_query;
-- An export goes on reading the tables that it began with, wherever a rebuild has put them.
GRANT USAGE ON SCHEMA old_views TO orderstore_query;

GRANT SELECT ON order_view, timeline, checkpoints TO orderstore_broadcast;
