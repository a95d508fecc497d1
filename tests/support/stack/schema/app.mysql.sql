-- The platform's own account: the application that writes rows. Not part of connect/grants, because a
-- real deployment has it already.
CREATE USER '${APP_USER}'@'%' IDENTIFIED BY '${APP_PASSWORD}';
GRANT SELECT, INSERT, UPDATE, DELETE ON ${CDC_MYSQL_DATABASE:-trading}.* TO '${APP_USER}'@'%';
