# Redirections, globs, and the tools about names.
cd /tmp
rm -rf work; mkdir -p work/a/b; cd work
pwd
echo first > f; echo second >> f; cat < f; wc f
echo to stderr 2>&1 >/dev/null >&2
ls nothing 2> errors; echo $?; cat errors
ls nothing > both 2>&1; cat both
cp f g; mv g h; touch i j; ls
echo * a/* ? [h-z] [!h-z]* nomatch* '*' "?"
ln -s f link; ls -l link | grep -c 'link -> f'
cat link | sort -r
cp -r a c; ls c
rmdir a; echo $?
rm a; echo $?
rm -r a c; ls -1
mkdir d; cp f h d; ls d; mv d e; ls e
cat nothing; echo $?
cd nowhere; echo $?
cd /; pwd; cd -; pwd; cd; pwd
rm -rf /tmp/work; ls /tmp
