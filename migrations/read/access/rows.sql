-- Which rows of a table are seen, by the settings of the connection (0004). The projector is not bound, and nobody else may write.

SELECT keep_rows('order_view', $$CASE current_setting('orderstore.scope', true) WHEN 'provider' THEN was_told_of(id) ELSE sees_tenant(tenant) END$$, 'false');
SELECT keep_rows('task_inbox', $$CASE current_setting('orderstore.scope', true)
    WHEN 'provider' THEN provider = current_setting('orderstore.provider', true) ELSE sees_tenant(tenant) END$$, 'false');
SELECT keep_rows('timeline', $$CASE current_setting('orderstore.scope', true)
    WHEN 'provider' THEN provider = current_setting('orderstore.provider', true) ELSE sees_tenant(tenant) END$$, 'false');
SELECT keep_rows('order_search', 'sees_tenant(tenant)', 'false');
SELECT keep_rows('catalog', 'sees_shared(tenant)', 'false');
-- A facet is a hash of its tenant with a value: rows of others have no name by which they could be asked for. Without a scope there are none.
SELECT keep_rows('order_facets', $$coalesce(current_setting('orderstore.scope', true) IN ('tenant', 'system', 'all'), false)$$, 'false');
