-- A handler is paused, or not any more: `Pausable.pause` and `Pausable.resume`. Partition 0 decides, and the others take
-- over what it says. STATE has `pauses` (by handler: since_us, until_us, reason), where there are any, and `pauses_made`,
-- which numbers the changes, so that an earlier one never takes the place of a later one. The numbers are times: also
-- after a fail-over that partition 0 lost some in, the next one is higher.
-- keys: STATE SLEEPERS SLEEPS CALLS CALLS_OLD
-- needs: base frees sleepers calls
-- args: handler, and resumes, or until_us or after_us (neither: until it is resumed), reason and most (handlers that may
--   be paused); or follows (what this script returned on partition 0); producer, call
-- Returns: number, pauses, was (whether the handler was paused), many (too many are: nothing changed).
local before = made_before()
local was = before and before[1] == 1
if state.leaving and not args.follows then
    return redis.error_reply('LEFT ' .. state.leaving)
end
local function told(many)
    return cmsgpack.pack({number = figure('pauses_made'), pauses = state.pauses or false, was = was, many = many})
end
if before then
    return told()
end
if args.follows then
    if args.follows.number <= figure('pauses_made') then
        return told()
    end
    state.pauses, state.pauses_made = args.follows.pauses or nil, args.follows.number
else
    was = is_paused(args.handler) or false
    local others, standing = 0, {}
    for handler, its in pairs(state.pauses or {}) do
        if handler ~= args.handler and is_paused(handler) then
            others, standing[handler] = others + 1, its
        end
    end
    if not args.resumes and others >= args.most then
        return told(true)
    end
    standing[args.handler] = not args.resumes and {
        since_us = now, until_us = args.until_us or args.after_us and now + args.after_us, reason = args.reason,
    } or nil
    state.pauses = next(standing) and standing or nil
    state.pauses_made = math.max(figure('pauses_made') + 1, latest)
end
wake_everyone()
note_call(was and 1 or 0)
save()
return told()
