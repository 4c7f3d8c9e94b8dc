-- 0031: other models.
--
-- A run whose provider has answered as another model than was asked ends with a class of its own. One
-- more word in a constraint, in the text of the schema: see V19.

pragma writable_schema = on;
update sqlite_schema
set sql = replace(sql, '''budget'', ''internal'')', '''budget'', ''internal'', ''wrong_model'')')
where type = 'table' and name = 'runs';
pragma writable_schema = reset;
