-- What is known of one thread, for operators: `Observer.facts`.
-- keys: STATE THREADS
-- needs: base threads
-- args: key
-- Returns: now, standing, to (where the content goes), and of a thread that has messages, a claim or a pause: owner and
-- lease_end (of the claim), pause_end, and tubes: a list for each that is not empty, of its name, count, how many are in
-- hand, since when, and failures of the message at its head.
local told = {now = now, to = state.leaving, standing = standing()}
local its = look_at(args.key)
if not its then
    return cmsgpack.pack(told)
end
told.pause_end, told.tubes = its.pause_end, {}
if its.token > 0 then
    told.owner, told.lease_end = its.owner, its.lease_end
end
for name, tube in pairs(its.tubes) do
    if tube.count > 0 then
        local handed = its.token > 0 and tube.handed_to == its.token and tube.handed_count or 0
        local failed = tube.failed and tube.failed.number >= tube.head and tube.failed or false
        told.tubes[#told.tubes + 1] = {name, tube.count, handed, tube.handed_us or now, failed}
    end
end
return cmsgpack.pack(told)
