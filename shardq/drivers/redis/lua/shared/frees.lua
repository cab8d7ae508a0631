-- For a script that has to succeed where the server has no memory left: after a first command that only deletes, the
-- server refuses none of the others.
-- keys: SLEEPS
redis.call('HDEL', SLEEPS, '')
