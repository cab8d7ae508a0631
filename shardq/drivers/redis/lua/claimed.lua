-- Whether a thread is claimed: `Storage.claimed`.
-- keys: STATE THREADS
-- needs: base threads
-- args: key
local its = look_at(args.key)
return its and its.token > 0 and its.lease_end > now and 1 or 0
