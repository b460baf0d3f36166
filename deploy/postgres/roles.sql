-- The roles and the database of WedSync on a PostgreSQL server, version 15 or later. Run once by a superuser:
--
--   psql -v ON_ERROR_STOP=1 -v owner_password=… -v login_password=… -f roles.sql
--
--   wedsync_owner   owns the tables; only "wedsync migrate" logs in as it. It takes the other roles to see whether a wedding
--                   is on before it changes anything
--   wedsync_login   server and worker log in as it; it owns nothing and has no rights until it takes a role
--   wedsync_app     one tenant at a time, by row-level security
--   wedsync_system  intake, dispatch and live stream
CREATE ROLE wedsync_app NOLOGIN NOBYPASSRLS;
CREATE ROLE wedsync_system NOLOGIN NOBYPASSRLS;
-- CREATEROLE, because a migration may add a role.
CREATE ROLE wedsync_owner LOGIN NOINHERIT CREATEROLE PASSWORD :'owner_password';
CREATE ROLE wedsync_login LOGIN NOINHERIT PASSWORD :'login_password';
GRANT wedsync_app, wedsync_system TO wedsync_owner, wedsync_login;

CREATE DATABASE wedsync OWNER wedsync_owner;
REVOKE ALL ON DATABASE wedsync FROM PUBLIC;
GRANT CONNECT ON DATABASE wedsync TO wedsync_login;
\connect wedsync
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO wedsync_owner;
GRANT USAGE ON SCHEMA public TO wedsync_login, wedsync_app, wedsync_system;
-- The processes compare the schema's version with their own before they take a role. Row-level security is forced on
-- every table with rows of tenants, so that without a role this shows the version and nothing else.
ALTER DEFAULT PRIVILEGES FOR ROLE wedsync_owner IN SCHEMA public GRANT SELECT ON TABLES TO wedsync_login;
